"""What people do with a network once it has attention: other people's tools, each against the stock network."""
