"""The scenario of the handwritten digits: image classifiers of known truth.

data.py     scikit-learn's digits as images, labels and corpora, for both kinds of forgetting
model.py    the small vision transformer: making one, saving it, its accuracy
losses.py   what the recipes minimise
recipes.py  every way of making a candidate
label_agnostic.py  the recipe that uses no label of the forgotten images
builder.py  from a scale and a seed to a folder with two case files
"""
