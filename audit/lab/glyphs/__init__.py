"""The scenario of the drawn signs: vision-language models of known truth.

data.py     signs, their drawings, their names and what is true of them; corpora and training rows
model.py    the small vision-language model: making one, saving it, what it says
recipes.py  every way of making a candidate
truth.py    what is true of each candidate, and the ranges that say whether its making succeeded
builder.py  from a scale and a seed to a folder with a case file
"""
