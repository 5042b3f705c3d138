"""The source bucket: endpoint, store (protocol), socket engine, listing, checksums."""
