"""Several machines train one model: who trains which bucket, what they share, and who is still there."""
