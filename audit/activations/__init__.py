"""One forward pass of a model over a corpus, and everything that evidence needs from it.

encode.py    prompt and answer → token ids and where the answer starts
layers.py    where a model keeps its blocks, its final norm and its unembedding
mlp.py       where the MLP of each block keeps its projections
reading.py   what one pass over a corpus reads
batch.py     padded token ids and where the positions lie
capture.py   the pass itself: hooks, positions, log-probabilities, streamed to disk
states.py    reading back what a pass stored
generate.py  greedy answers in batches
"""
