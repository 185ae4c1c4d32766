(() => {
  const at = id => document.getElementById(id);
  const kept = { get: () => { try { return sessionStorage.getItem("ordinate-token") || ""; } catch { return ""; } }, set: token => { try { sessionStorage.setItem("ordinate-token", token); } catch { /* a browser that keeps nothing */ } } };
  let token = kept.get(), about = null, last = null, asked = 0, drawn = [];

  const call = (path, options = {}) => fetch(path, { ...options, headers: { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) } });
  const complain = text => { at("problem").textContent = text; at("problem").hidden = !text; };
  const problem = async answer => { try { return (await answer.json()).error; } catch { return `the server answered ${answer.status}`; } };

  const enter = async () => {
    const answer = await call("/about");
    at("enter").hidden = answer.status !== 401;
    if (answer.status === 401) { complain(token ? "That token is not the server's." : ""); at("token").focus(); return; }
    if (!answer.ok) { complain(await problem(answer)); return; }
    about = await answer.json();
    complain("");
    at("about").textContent = `${about.rows.toLocaleString()} rows of ${about.width} dimensions`;
    for (const dim of about.dims) at("short").add(new Option(dim === about.width ? "full size" : `${dim} dimensions`, dim));
    at("ask").hidden = false;
    at("interface").hidden = token !== ""; // a link carries no token
    at("drop").hidden = about.kind !== "image";
    at("write").hidden = about.kind === "image";
    at("found").className = about.thumbnails ? "" : "plain";
  };

  const picture = async (image, id) => {
    const answer = await call(`/thumbnail?id=${encodeURIComponent(id)}`);
    if (!answer.ok) return;
    const url = URL.createObjectURL(await answer.blob());
    drawn.push(url);
    image.onload = () => image.classList.toggle("tiny", image.naturalWidth < 96);
    image.src = url;
    image.hidden = false;
  };

  const show = hits => {
    for (const url of drawn) URL.revokeObjectURL(url);
    drawn = [];
    at("found").replaceChildren(...hits.map((hit, place) => {
      const item = document.createElement("li"), frame = document.createElement("span"), image = document.createElement("img"), name = document.createElement("span"), score = document.createElement("span");
      item.style.animationDelay = `${Math.min(place, 20) * 18}ms`;
      frame.className = "frame"; name.className = "name"; score.className = "score";
      image.alt = ""; image.hidden = true;
      name.textContent = hit.label == null ? hit.id : `${hit.label} · ${hit.id}`;
      score.textContent = hit.score.toFixed(4);
      frame.append(image);
      item.append(frame, name, score);
      if (about.thumbnails) picture(image, hit.id);
      return item;
    }));
  };

  const search = async () => {
    if (!last) return;
    const mine = ++asked, begun = performance.now();
    const options = new URLSearchParams({ k: at("k").value || "12", shortlist_dim: at("short").value });
    at("took").value = "searching …";
    try {
      const answer = await call(`/search?${options}`, { method: "POST", ...last });
      if (mine !== asked) return;
      if (!answer.ok) { at("took").value = ""; complain(await problem(answer)); return; }
      const { results } = await answer.json();
      if (mine !== asked) return;
      complain("");
      at("took").value = `${results[0].length} neighbours in ${(performance.now() - begun).toFixed(0)} ms`;
      show(results[0]);
    } catch { if (mine === asked) { at("took").value = ""; complain("The server does not answer."); } }
  };

  const take = file => {
    if (!file) return;
    const url = URL.createObjectURL(file), seen = at("seen");
    seen.onload = () => { seen.classList.toggle("tiny", seen.naturalWidth < 96); URL.revokeObjectURL(url); };
    seen.onerror = () => { seen.hidden = true; URL.revokeObjectURL(url); };
    seen.src = url;
    seen.hidden = false;
    last = { body: file, headers: { "Content-Type": file.type || "application/octet-stream" } };
    search();
  };

  at("enter").addEventListener("submit", event => { event.preventDefault(); token = at("token").value.trim(); kept.set(token); enter(); });
  at("ask").addEventListener("submit", event => {
    event.preventDefault();
    if (about.kind !== "image" && at("text").value) last = { body: JSON.stringify({ texts: [at("text").value] }), headers: { "Content-Type": "application/json" } };
    search();
  });
  for (const id of ["k", "short"]) at(id).addEventListener("change", search);
  at("file").addEventListener("change", () => take(at("file").files[0]));
  for (const name of ["dragover", "dragenter"]) addEventListener(name, event => { event.preventDefault(); at("drop").classList.add("over"); });
  addEventListener("dragleave", event => { if (!event.relatedTarget) at("drop").classList.remove("over"); });
  addEventListener("drop", event => { event.preventDefault(); at("drop").classList.remove("over"); if (about?.kind === "image") take(event.dataTransfer.files[0]); });
  addEventListener("paste", event => { const file = [...event.clipboardData.files].find(each => each.type.startsWith("image/")); if (file && about?.kind === "image") take(file); });
  enter().catch(() => complain("The server does not answer."));
})();
