"""Mathematics on tensors: sums that add up, and pure functions of them."""
