"""Doctor: which link of the cross-account chain is broken, who must put it right, and with what.

`asking` asks AWS and says what came back; `caller`, `assuming`, `listing` and `objects` turn that into steps and ask
nothing; `snippets` writes what is to be pasted; `examine` holds the order; `patience` ends it in time.
"""
