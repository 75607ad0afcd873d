"""Finding, checking and loading models.

settings.py      what a subject's entry in the case file may say besides its path
files.py         path or hub id → folder on this disk, and the files in it that count
weights.py       tensors of a safetensors file, read as a stream and never as a model
pickled.py       the same for pickled files, where the case file allows them
fingerprint.py   folder → the hashes that name a subject
tokens.py        tokenizers: loading one, hashing one, comparing two
checks.py        everything that is wrong with a subject, or between two, before it is loaded
checkpoint.py    loading a checkpoint
adapter.py       loading a PEFT adapter on the base that it was made on
load.py          the one door: spec → Subject, and back to free memory
systems/         what stands around or inside a model: guards, combinations of logits, interventions
memory.py        how much a subject needs, and how much is free
garage.py        loaded models and the room they take
"""
