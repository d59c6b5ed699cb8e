"""The models: each room holds one family; siblings share only what lies in `nn` and `ops`."""
