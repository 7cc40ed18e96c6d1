"""`surgeon tour`: everything that surgeon does, on the network that it brings, in about a minute."""
