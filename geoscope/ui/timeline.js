// The time axis: an upper lane whose frames are shown when clicked or dragged over, and a lower lane in which a click
// chooses the issue time. Drawn as plain HTML so that it follows the theme, keeps sharp, and answers to keys.
const bar = (index, count) => `${(100 * index) / count}%`

export function render({model, el}) {
  el.style.width = "100%"
  const root = document.createElement("div")
  root.className = "axis"
  root.innerHTML = `
    <div class="lane frames" role="slider" tabindex="0" aria-label="Frame shown">
      <div class="cells"></div><div class="cursor" part="cursor"></div>
    </div>
    <div class="lane issue" role="slider" tabindex="0" aria-label="Issue time">
      <div class="past"></div><div class="future"></div><div class="flag"></div>
    </div>
    <div class="ticks" aria-hidden="true"></div>
    <div class="tip" aria-hidden="true"></div>`
  el.appendChild(root)
  const part = (name) => root.querySelector("." + name)
  const [frames, issue, tip] = [part("frames"), part("issue"), part("tip")]
  const count = () => Math.max(model.times.length, 1)

  const drawCells = () => {
    const cells = part("cells")
    cells.replaceChildren(...model.kinds.map((kind) => {
      const cell = document.createElement("i")
      cell.className = kind
      return cell
    }))
    const ticks = part("ticks")
    const room = Math.max(2, Math.floor(root.clientWidth / 76))
    const every = Math.max(1, Math.ceil(count() / room))
    ticks.replaceChildren(...model.ticks.flatMap((text, index) => {
      if (index % every || index > count() - 1) return []
      const tick = document.createElement("span")
      tick.textContent = text
      tick.style.left = bar(index + 0.5, count())
      if (index == 0) tick.className = "first"
      else if (index == count() - 1) tick.className = "last"
      return [tick]
    }))
    let end = -Infinity // of the text before: one that a wider neighbour leaves no room for goes
    for (const tick of [...ticks.children]) {
      const box = tick.getBoundingClientRect()
      if (box.left < end + 6) tick.remove()
      else end = box.right
    }
    drawPlaces()
  }
  const drawPlaces = () => {
    const cursor = part("cursor"), flag = part("flag")
    cursor.style.left = bar(model.frame, count())
    cursor.style.width = bar(1, count())
    flag.style.left = bar(model.issue + 0.5, count())
    part("past").style.width = bar(model.issue + 0.5, count())
    part("future").style.left = bar(model.issue + 0.5, count())
    part("future").style.width = bar(Math.min(model.lead, count() - 1 - model.issue), count())
    for (const [lane, value, last] of [[frames, model.frame, count() - 1], [issue, model.issue, model.observed - 1]]) {
      lane.setAttribute("aria-valuemin", "0")
      lane.setAttribute("aria-valuemax", String(last))
      lane.setAttribute("aria-valuenow", String(value))
      lane.setAttribute("aria-valuetext", model.times[value] ?? "")
    }
  }
  const indexAt = (event, last) => {
    const box = frames.getBoundingClientRect()
    const index = Math.floor((count() * (event.clientX - box.left)) / Math.max(box.width, 1))
    return Math.min(Math.max(index, 0), last)
  }
  const choose = {
    frames: (index) => { if (index != model.frame) { model.frame = index; drawPlaces() } },
    issue: (index) => { if (index != model.issue) { model.issue = index; drawPlaces() } },
  }
  for (const [lane, name, last] of [[frames, "frames", () => count() - 1], [issue, "issue", () => model.observed - 1]]) {
    lane.addEventListener("pointerdown", (event) => {
      lane.setPointerCapture(event.pointerId)
      if (name == "frames") choose.frames(indexAt(event, last()))
    })
    lane.addEventListener("pointermove", (event) => {
      const index = indexAt(event, last())
      if (name == "frames" && event.buttons) choose.frames(index)
      tip.textContent = (name == "issue" ? "Issue at " : "Show ") + (model.times[index] ?? "")
      tip.style.left = bar(index + 0.5, count())
      tip.dataset.side = index > count() * 0.7 ? "left" : index < count() * 0.3 ? "right" : "middle"
      tip.style.opacity = 1
    })
    lane.addEventListener("pointerleave", () => { tip.style.opacity = 0 })
    lane.addEventListener("pointerup", (event) => { if (name == "issue") choose.issue(indexAt(event, last())) })
    lane.addEventListener("keydown", (event) => {
      const now = name == "frames" ? model.frame : model.issue
      const goal = {ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, Home: 0, End: last()}[event.key]
      if (goal === undefined) return
      event.preventDefault()
      event.stopPropagation()
      choose[name](Math.min(Math.max(goal, 0), last()))
    })
  }
  for (const name of ["times", "kinds", "ticks", "observed"]) model.on(name, drawCells)
  for (const name of ["frame", "issue", "lead"]) model.on(name, drawPlaces)
  const resized = new ResizeObserver(drawCells)
  resized.observe(root)
  model.on("remove", () => resized.disconnect())
  drawCells()
}
