"""Pre-trained networks as frozen base points: loading, scopes, features, label rows, the split."""
