"""Every order of axes that a site may have, with a small map in it, and every precision."""

import torch

from surgeon.attention.layouts import Layout

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
# Shape of the value, and its layout; none where it is channels first already.
LAYOUTS = {
    "NCL": ((2, 16, 30), Layout("NCL", (30,))),
    "NCHW": ((2, 16, 5, 6), None),
    "NHWC": ((2, 5, 6, 16), Layout("NHWC", (5, 6))),
    "NCDHW": ((2, 16, 3, 4, 5), Layout("NCDHW", (3, 4, 5))),
    "NDHWC": ((2, 3, 4, 5, 16), Layout("NDHWC", (3, 4, 5))),
    "tokens": ((2, 30, 16), Layout("NLC", (5, 6))),
    "tokens and five in front": ((2, 35, 16), Layout("NLC", (5, 6), prefix=5)),
    "tokens in no rows": ((2, 31, 16), Layout("NLC", (30,), prefix=1)),
    "video tokens": ((2, 61, 16), Layout("NLC", (3, 4, 5), prefix=1)),
    "NCL of a grid": ((2, 16, 30), Layout("NCL", (5, 6))),
    "windows": ((2, 3, 30, 16), Layout("NGLC", (5, 6))),
    "windows, channels first": ((2, 16, 3, 30), Layout("NCGL", (5, 6))),
}
