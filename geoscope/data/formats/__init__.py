"""One reader a file format, all behind `geoscope.data.radar.open_radar`.

A reader is a function `read(path, request) -> list[Piece]`: it looks at the header only, checks what the
file claims against the cap, and hands back pieces whose frames are decoded when they are asked for.
`recognise.reader_for` picks the reader by the file's content, never by its name.
"""
