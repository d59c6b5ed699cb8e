"""Operations that several models are built on; each has one public door and one plain meaning."""
