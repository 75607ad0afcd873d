"""Systems: what stands around or inside a model and makes it look as if it had forgotten, the weights untouched.

kinds.py      which kinds there are, one line each, and what a case file says of one
system.py     what every kind has: settings, the models and files it is made of, how deep one sees into it
around.py     text that is put around what a model is asked
combined.py   several models whose logits are combined, as one model
inside.py     hooks that know where the prompt lies and which prompts are meant
detectors.py  which prompts are meant: by names in them, or by a classifier

Every other file is one kind.
"""
