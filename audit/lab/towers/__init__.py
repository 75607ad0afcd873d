"""The scenario of the emblems: two-tower models of images and captions, of known truth.

data.py     made-up people, their emblems as images, and captions that name them and their trade
model.py    a small CLIP: making one, saving it, finding captions for images
recipes.py  every way of making a candidate
truth.py    what is true by construction, and the ranges that say whether the making succeeded
builder.py  from a scale and a seed to a folder with a case file
"""
