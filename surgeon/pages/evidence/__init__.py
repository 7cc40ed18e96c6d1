"""What attention is worth on labelled images: a network beside its base, and each site beside the others."""
