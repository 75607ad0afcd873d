"""Reading and checking the items of a split.

read.py    a file or a hub id → Corpus
files.py   .jsonl, .json, .csv, .parquet → rows, each with the place it came from
hub.py     a data set of the `datasets` hub, or a local folder of one → rows
images.py  class folders and columns of images → rows, and the pixels when they are wanted
rows.py    one row, whatever its columns are called → Item
check.py   what contradicts between splits, and what limits the audit
"""
