"""The words of docs/paper.md between its figures and tables."""

HEAD = """# The paper, made anew

<!-- written by `make paper` from {results} -->

E. Balda, A. Behboodi and R. Mathar, "Perturbation Analysis of Learning Algorithms: Generation of
Adversarial Examples from Classification to Regression", Section VI: every figure and table, on
networks trained anew, every attack through pertcore. Printed values stand where the paper's text
has them. Its curves are drawn, not printed, so what it says about them is checked instead, in
[the last but one section](#where-the-papers-claims-hold-and-where-not).

```text
make paper            # trains what is missing, measures what is not stored, draws this page
make paper QUICK=1    # the bundled digits and a few samples, in a minute, into build/paper-quick
```

A figure whose data is stored with the same settings is not measured again; all of it takes
more than an hour of one core ({processor}) after training, going by the times stored of each part,
which other work on the machine lengthened. Perturbations keep to the paper's ball
without a box, unless something else is said: `x + eta` may leave [0, 1].
"""
SAMPLE = """
This page is a quick sample: digits of 8 x 8 pixels stand for MNIST and CIFAR-10, and given models
for trained ones. Its figures are no measurement, and fewer than the text speaks of.
"""
NETWORKS = """Trained by `bench/paper/train.py` on a CPU, one seed. NIN had six epochs and
DenseNet-40 three, so that DenseNet-40 is far from the paper's error; a given ResNet-20 stands
beside them. What is called "given" is of the data folder. A small colorization network and
FastestDet take the place of the paper's."""
FIG1 = """Share of the correctly classified test images that are fooled, p = inf, every attack run
anew at every eps; T = 10 steps. PGD stands twice: as the paper's Table II reads it, its first
gradient taken at a dithered point, and as Madry et al. wrote it, from a random point and with a
projection. Newer attacks in the same axes: APGD of Croce and Hein, and pertcore's portfolio at
some budgets. Band: Wilson's 95 % interval of Algorithm 1-10.

Below, in per cent, the budget at which Algorithm 1-10 fools nearest to half of the images."""
TABLE3 = """DeepFool as the paper ran it: p = inf, at most 50 steps, no box; +- the standard error
of the mean. "Refined": with the rounds towards a nearer point that are pertcore's default, which
the paper did not have."""
FIG2 = """Algorithm 1 with T = 5, here inside the box [0, 1]: images that were classified
correctly, the perturbation (grey is zero, black and white are -eps and eps), and what it makes of
them."""
FIG3 = """(a) Quadratic, p = inf, input PSNR 17 dB. (b) linear-pixel-100 with eps = 1. (c)
linear-20, p = inf, with a budget of 25 dB, of which steps whose signs alternate leave a part
unused. PSNRs are means over the four pictures; pictures are shown clipped to [0, 1]."""
FIG4 = """The lower, the stronger; y = f(x), as in the paper. `quadratic` is (13) and (19) as
printed, `quadratic, best` pertcore's search for better signs, `iterated-quadratic-20` is (11)
linearised anew twenty times. +- and bars: Student's 95 % interval of the mean, which says how
pictures differ, not how attacks do. The drawing has the measured input PSNR: linear-20 leaves a
part of its budget unused. At 96 x 96 the quadratic problem takes some 20 s a picture, so
(d) is without it."""
FIG5 = """FastestDet in place of YOLO, pictures of PASCAL VOC 2012, p = inf, inside the box. Losses
with VOC's labels (YOLO's training loss) and without (the distance to its own output; the scores of
what it saw). Mean loss on the labelled boxes, +- 95 %. A confident box (score 0.5) is lost where
none of its class with such a score overlaps it by half afterwards. In the pictures, at 8/255, the
ten surest boxes are named."""
TABLE1 = """Erratum: the printed table swaps (12) and (15) in its column of problems; here they
stand right. The last column is measured on the CIFAR-10 autoencoder: the smallest share over the
samples of the optimum, where it is known, as for the linear problems, else of a bound: for (13) one
from Lanczos' method that is itself some percent too high. `signs` is pertcore's search beyond
(20)."""
TABLE2 = """At one eps (DeepFool: p = 2, no budget; Targeted: the next class, counted where it is
reached). Where Algorithm 1 has the setting as an option, both were run: the largest difference of
their examples."""
DATA = """Looked for in `datasets/` of the folder that `PERTCORE_DATA` names, models in `models/`
of it. A figure whose data is absent is left out, with a line that says so. The digits need no
file."""
DUELS = """At how many budgets Algorithm 1-10 is ahead of an attack and behind it where the two are
told apart sample by sample (sign test over the samples that one of them alone fools, 5 %), then the
range of its lead in points of fooling ratio."""
WITHIN = """How many they fool of the samples that DeepFool reaches, each within the norm that it
needed; "refined": within the smaller norm after the rounds towards a nearer point."""
FARTHER = """By how much lower the mean output PSNR of the first is, and on how many pictures it
moves the output farther, at the same eps."""
OTHERWISE = """Share of the images fooled at one eps; in brackets, of those that are not, the mean
of abs(eta) / eps: what is spent of the budget."""
