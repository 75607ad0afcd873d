"""The scenario of the generators: they draw digits of 8 by 8 pixels, and one digit is to be forgotten.

data.py     scikit-learn's digits, cut into what generators, scorer and judge learn from, and what tests them; latents
model.py    the small conditional generator with the encoder it is trained with: making, saving, what the scorer sees
scorers.py  scorer and judge: classifiers of two architectures, trained apart
recipes.py  every way of making a candidate
truth.py    what is true of each, and the ranges that say whether the making succeeded
builder.py  from a scale and a seed to a folder with a case file
"""
