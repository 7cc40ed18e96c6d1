"""The attention modules of surgeon's own, by name. A new one is one file beside this, and one line here."""

from surgeon.attention.bam import BAM
from surgeon.attention.cbam import CBAM
from surgeon.attention.eca import ECA
from surgeon.attention.gate import Gate
from surgeon.attention.se import SE

TABLE: dict[str, type[Gate]] = {"bam": BAM, "cbam": CBAM, "eca": ECA, "se": SE}
