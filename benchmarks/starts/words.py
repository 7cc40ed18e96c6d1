"""What the page says beside its tables."""

HEAD = """# Starts

Made by `python -m benchmarks.starts` from `benchmarks/starts.csv`. Who puts attention into a trained network wants the network
as it was at first, and attention that acts later. How it starts decides whether it ever does.
"""

HOW = """## What was tried

A small network is trained without attention first (8 epochs of AdamW, up to 3e-3). Attention is put into it, and it is trained on, by AdamW with a
weight decay of 0.01 or by SGD with a momentum of 0.9, both with a warm-up over the first tenth of the steps and a cosine after it. *alone*
trains the attention and the head, all else frozen. All images are real pixels, scikit-learn's 1,797 digits and its two photographs; each
epoch draws 1,257 of them anew, and 540 others judge.

Tasks: {tasks}.

Networks: {networks}.

Starts:

{starts}

Not every task was tried with every network, recipe and budget: that would be thousands of runs. A first look asked where attention
that is trained from scratch beats the network alone. On `cued` it does, since what a digit means there stands elsewhere in the image, further
away than a unit of the small ResNet sees. There the starts are compared, over the most seeds; the other settings ask whether what was found there
holds elsewhere, with the starts that matter and fewer seeds.
"""

COLUMNS = """## Results

Mean and spread (standard deviation) over the seeds. *gain*: accuracy less that of the network alone, trained as long from the same
weights. *lowest*: the lowest accuracy after any epoch. *back after*: epochs until the accuracy before was reached again; 0 where it never fell at
the start. *movement*: by how much the gates change their maps in the end, as a share of the maps. *off*: what switching the attention off
afterwards costs.
"""

SHORT = """SHORTTEXT
"""
