"use strict";
// Shared by the other scripts: data, elements, theme. Text from a run is only ever inserted as textContent.

const DATA = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, text = "") {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function svg(name, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

// The theme follows the system until the user chooses one. A page opened from a file may lack local storage.
const kept = { get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
               set: (theme) => { try { localStorage.setItem("theme", theme); } catch { /* for this visit only */ } } };
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const showTheme = (theme) => { document.documentElement.dataset.theme = theme; };
showTheme(kept.get() ?? (prefersDark.matches ? "dark" : "light"));
prefersDark.addEventListener("change", () => { if (!kept.get()) showTheme(prefersDark.matches ? "dark" : "light"); });
byId("theme").addEventListener("click", () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  kept.set(theme);
  showTheme(theme);
});
