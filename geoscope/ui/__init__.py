"""The pages: what the user has chosen (state), what follows from it (desk), and how it looks (views).

A state is a `param.Parameterized` without widgets; a desk holds fields and forecasts and runs the models; a view owns
no numbers. Each can be tested without a browser; `geoscope.ui.shell` is the frame that all pages share.
"""
