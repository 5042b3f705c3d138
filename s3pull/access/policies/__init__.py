"""What a data owner and a consumer paste into AWS, as pure builders: `grant` says what, the others write it."""
