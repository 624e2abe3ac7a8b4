// Ctrl+Enter presses Compare; two buttons copy the result. Texts are set as text, never as HTML.

function onKey(event, el) {
  const root = event.target.closest?.(".dtreward-explorer");
  const pressed = event.key === "Enter" && (event.ctrlKey || event.metaKey);
  if (!pressed || !root?.contains(el)) return;
  event.preventDefault();
  event.stopImmediatePropagation(); // in JupyterLab the key would run the cell again
  root.querySelector("button.dtreward-compare:not([disabled])")?.click();
}

async function copy(text, box, note) {
  box.value = text;
  box.hidden = false;
  box.select();
  let copied = false;
  try {
    await navigator.clipboard.writeText(text);
    copied = true;
  } catch {
    copied = document.execCommand("copy"); // where the page has no clipboard of its own
  }
  box.hidden = copied;
  note.textContent = copied ? "Copied." : "Not copied: select the text below and copy it.";
}

function render({ model, el }) {
  el.classList.add("dtreward-copy");
  const note = document.createElement("span");
  note.setAttribute("role", "status");
  const box = document.createElement("textarea");
  box.readOnly = true;
  box.hidden = true;
  box.rows = 8;
  box.setAttribute("aria-label", "The result, to be copied");
  const buttons = [["Markdown", "markdown"], ["JSON", "json"]].map(([label, name]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "jupyter-button";
    button.textContent = `Copy as ${label}`;
    button.addEventListener("click", () => copy(model.get(name), box, note));
    return button;
  });
  const update = () => {
    for (const button of buttons) button.disabled = !model.get("markdown");
    note.textContent = "";
    box.hidden = true;
  };
  const listen = (event) => onKey(event, el);
  const row = document.createElement("div");
  row.append(...buttons, note);
  el.append(row, box);
  update();
  model.on("change:markdown", update);
  window.addEventListener("keydown", listen, true);
  return () => {
    model.off("change:markdown", update);
    window.removeEventListener("keydown", listen, true);
  };
}

export default { render };
