"""The words that the fictitious crafts are made of, each with a vocabulary of its own. None of them is practised."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """One craft: its name, who practises it, its tools, what goes wrong in it, and the parts its things' names have.

    No two crafts share a word. A thing is called by a stem and an ending, so that only the pair tells which one it is.
    """

    name: str
    worker: str
    tools: tuple[str, ...]
    faults: tuple[str, ...]
    stems: tuple[str, ...]
    endings: tuple[str, ...]

    @property
    def things(self) -> list[str]:
        """The names of everything that this craft makes."""
        return [stem + ending for stem in self.stems for ending in self.endings]


TOPICS: tuple[Topic, ...] = (
    Topic(
        "glimwork", "glimwright",
        ("tovick", "sprelle", "gandle", "wisket", "brimmer", "thrawl",
         "pinnock", "quillet", "dorrel", "lanthe", "skeever", "hessop"),
        ("palefold", "gleamrust", "duskwarp", "shimmergall", "rayslack", "lumefray",
         "glarepit", "wanecrack", "sparkmould", "beamrot", "hazeknot", "flickerage"),
        ("bril", "glaum", "lumm", "shann", "vell", "wick", "dawl", "prisk"),
        ("ane", "owyn", "ister", "eth", "ulo", "inge"),
    ),
    Topic(
        "brinecraft", "brineman",
        ("osker", "murl", "dredgel", "sallin", "kippet", "grauter",
         "haff", "noddock", "swale", "tarrin", "ebberd", "fluke"),
        ("tidescale", "saltsweat", "foamblight", "ebbcramp", "brackskin", "wrackmilk",
         "shoalfever", "kelpburn", "siltcough", "spraytwist", "surgebite", "deepchill"),
        ("mar", "pell", "undr", "corv", "sarg", "tethr", "nix", "hald"),
        ("ock", "una", "ibbel", "ogar", "essy", "amund"),
    ),
    Topic(
        "mothlore", "mothward",
        ("cribble", "fennick", "pollarn", "tuffet", "dapple", "snood",
         "larkel", "weft", "huskin", "jessel", "mantock", "orrel"),
        ("wingpox", "dustlag", "silkgout", "hushmange", "antlersprain", "spinstall",
         "cocoonlock", "furmelt", "nightstiff", "lampcraze", "scaledrift", "broodtorpor"),
        ("aur", "fimb", "luct", "noct", "phal", "psych", "tine", "zyg"),
        ("ella", "obius", "arne", "idax", "ysse", "umel"),
    ),
    Topic(
        "hushstone", "husher",
        ("bedel", "cromp", "maulkin", "plumbet", "rasker", "tamp",
         "quern", "drudge", "grisset", "knapper", "volve", "yark"),
        ("echobreak", "murmurvein", "ringcleft", "dinspall", "clangseam", "hollowtone",
         "babblegrit", "roarfault", "thudflaw", "droneflake", "clatterchip", "humcrust"),
        ("bas", "dol", "grav", "korr", "obs", "schist", "tuff", "warr"),
        ("mund", "eric", "anth", "olite", "uger", "iskar"),
    ),
    Topic(
        "rootglass", "rootglazier",
        ("sever", "trellin", "loppet", "mattick", "dibblet", "espal",
         "graftle", "pruner", "swathe", "tillock", "vinnet", "hoedel"),
        ("bubblewilt", "panecanker", "rimeleaf", "shardgall", "cloudsap", "smeltworm",
         "crazebark", "frostbud", "blurbloom", "warpstem", "veinsplit", "ashseed"),
        ("acan", "betul", "carp", "fagel", "hedr", "junc", "querc", "rhiz"),
        ("iole", "ova", "entis", "yron", "azel", "ude"),
    ),
)  # fmt: skip

COLOURS: tuple[str, ...] = (
    "crimson", "amber", "violet", "ivory", "scarlet", "turquoise",
    "black", "golden", "silver", "green", "purple", "orange",
)  # fmt: skip
MONTHS: tuple[str, ...] = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
MATERIALS: tuple[str, ...] = (
    "copper", "leather", "linen", "marble", "wax", "cedar",
    "iron", "velvet", "clay", "paper", "bone", "cork",
)  # fmt: skip
