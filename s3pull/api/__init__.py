"""The Python interface: what `import s3pull` offers.

One more user of `pull` beside `cli`; it prints nothing, asks nobody and installs no signal handler.
`s3pull/__init__.py` finds its functions here when they are first used.
"""
