// Fetches the page again every two seconds and puts the feeds in place. Without script the page reloads itself.
"use strict";
// As it was fetched: what a reader opens or closes is no news.
let last = null;
setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch("/", { cache: "no-store" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("feeds");
    const shown = document.getElementById("feeds");
    if (!fresh || !shown) return;
    const text = fresh.innerHTML;
    if (text === last || (last === null && text === shown.innerHTML)) return;
    last = text;
    for (const open of shown.querySelectorAll("details[id]")) {
      const same = fresh.querySelector("#" + CSS.escape(open.id));
      if (same) same.open = open.open;
    }
    shown.replaceWith(fresh);
  } catch {
    // The wall has stopped: what was shown last stays.
  }
}, 2000);
