"""Reviews of an audit: an append-only ledger of comments, decisions and signatures, and who may write into it.

roles.py       who somebody is and what they may do
seen.py        the digest of exactly what was looked at
chain.py       one entry of the ledger, its hash, and the check of a whole chain
signatures.py  whether a signature still holds, computed when it is shown
ledger.py      reading and writing the ledger
index.py       which runs exist and what their verdicts are, for lists
database.py    where both are kept: SQLite beside the runs, or PostgreSQL by PALIMPSEST_DATABASE
migrations/    the schema, revision by revision
"""
