"""The destination: key to path, part files, tree, receipts, durability."""
