// Starts the page: the theme first, charts as they come into sight, then the rollouts.
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  byId("theme").setAttribute("aria-pressed", String(name === "dark"));
}
const prefers = matchMedia("(prefers-color-scheme: dark)");
setTheme(prefers.matches ? "dark" : "light");
prefers.addEventListener("change", () => { setTheme(prefers.matches ? "dark" : "light"); repaint(); });
byId("theme").addEventListener("click", () => { setTheme(theme() === "dark" ? "light" : "dark"); repaint(); });
for (const button of document.querySelectorAll(".expand"))
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(open));
    for (const row of button.closest("tbody").querySelectorAll(".seed")) row.hidden = !open;
  });
watchCharts();
if (byId("list")) openColumns().then(async () => {
  await startBrowser();
  startCompare();
  await openLinked();
  document.documentElement.dataset.ready = "yes";
}); else document.documentElement.dataset.ready = "yes";
