// Fetches the page again every two seconds and puts the feeds in place. Without script the page reloads itself.
"use strict";
setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch("/", { cache: "no-store" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("feeds");
    const shown = document.getElementById("feeds");
    if (fresh && shown && fresh.innerHTML !== shown.innerHTML) shown.replaceWith(fresh);
  } catch {
    // The wall has stopped: what was shown last stays.
  }
}, 2000);
