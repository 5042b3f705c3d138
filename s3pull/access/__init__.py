"""Who am I, and may I: shares, AssumeRole, the credential cache."""
