"""What the scenarios page says of itself: what is seen, what n means, and what it cannot do."""

WORDS = """
### What am I seeing?

The maps show rain that **could** fall, not rain that is forecast. The slider asks a question: what if the mean rain of
the coming frames lay *n* sigma above, or below, what the past lets expect?

- **The expected mean** (n = 0) and **sigma** come from a forecast that sees the frames up to the issue time and nothing
  else. Sigma is how wrong that forecast was on storms that it had not seen. It is counted in a scale in which rain can
  only be multiplied, so that no n asks for negative rain, and equal steps of n are about equal factors.
- **The picture over the slider** is the forecast distribution of that mean. The line is what is asked, the dots are
  what the drawn members achieved, the shaded part is the chance of still more (or still less).
- **A scenario** is drawn by a diffusion model that is steered until its mean rain is the asked one. A small even
  correction of the whole area meets it exactly.
- **Members** of one n differ in where and when it rains. Member 1 at n = +2 and member 1 at n = 0 are drawn from the
  same noise: between them only the amount differs, which is what the difference map shows.
- **Quick look** says that a picture was drawn with few steps, in order to follow your hand. It is drawn again with all
  steps when the slider rests.

### Limits

- n is about the **mean over the field or the drawn area** and over all coming frames. At a single point the rain of a
  scenario may be anything, also less than at n = 0.
- n = +4 does not mean that the model knows a flood of that size. Where *beyond what training has seen* stands, the
  amount is what you asked for and the shape is a guess.
- The chances come from the tail fitted to left-out storms of few radar networks. In another climate they may be wrong.
- A scenario knows only the radar: no terrain, no season, no weather model. Storms that are not yet there at the issue
  time can appear only where the model has learnt to let them grow.
- Not a warning. Use the service of your national weather office for decisions about safety.
"""
