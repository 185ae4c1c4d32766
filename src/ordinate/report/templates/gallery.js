(() => {
  const root = document.documentElement, all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const wide = matchMedia("(min-width: 66rem)"), toc = document.getElementById("toc");
  const unfold = () => { toc.open = wide.matches; };
  wide.addEventListener("change", unfold);
  unfold();

  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("ordinate-theme", root.dataset.theme); } catch { /* a browser that keeps nothing */ }
  });

  const field = document.getElementById("words"), chips = all(".chip"), papers = all("article.paper").map(paper => ({
    paper, words: paper.textContent.toLowerCase(), claims: all(".claim", paper), line: document.querySelector(`#toc li[data-for="${CSS.escape(paper.id)}"]`),
  }));
  const filter = () => {
    const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const verdicts = chips.filter(chip => chip.ariaPressed === "true").map(chip => chip.dataset.verdict);
    let shown = 0, claims = 0;
    for (const { paper, words, claims: every, line } of papers) {
      let left = 0;
      for (const claim of every) {
        const kept = !verdicts.length || verdicts.includes(claim.dataset.verdict) || (verdicts.includes("stale") && "stale" in claim.dataset);
        claim.hidden = !kept;
        left += kept;
      }
      const visible = wanted.every(word => words.includes(word)) && (!verdicts.length || left > 0);
      paper.hidden = !visible;
      if (line) line.hidden = !visible;
      if (visible) { shown += 1; claims += left; }
    }
    document.getElementById("shown").value = wanted.length || verdicts.length ? `${shown} papers, ${claims} claims` : "";
    document.getElementById("none").hidden = shown > 0;
  };
  field.addEventListener("input", filter);
  document.getElementById("filter").addEventListener("submit", event => event.preventDefault());
  for (const chip of chips) chip.addEventListener("click", () => { chip.ariaPressed = chip.ariaPressed === "true" ? "false" : "true"; filter(); });
  document.getElementById("clear").addEventListener("click", () => { field.value = ""; for (const chip of chips) chip.ariaPressed = "false"; filter(); });

  for (const button of all(".copy")) button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try { await navigator.clipboard.writeText(code.textContent); button.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(code); button.textContent = "Selected"; }
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  });

  let folded = [];
  addEventListener("beforeprint", () => { folded = all("details.fold:not([open])"); for (const fold of folded) fold.open = true; });
  addEventListener("afterprint", () => { for (const fold of folded) fold.open = false; });
})();
