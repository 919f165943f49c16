"""HTTP plumbing that every noun shares: keys, limits, pages, ETags, problems, documents."""
