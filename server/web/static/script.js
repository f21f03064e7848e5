// The pages work without this file. It copies a new token, and keeps a double
// click from making two.
"use strict";

const copy = document.getElementById("copy");
if (copy) {
  const token = document.getElementById("new-token");
  const copied = document.getElementById("copied");
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    let done = true;
    try {
      await navigator.clipboard.writeText(token.textContent); // over https, or to localhost
    } catch {
      getSelection().selectAllChildren(token);
      done = document.execCommand("copy");
    }
    copied.textContent = done ? "Copied" : "Selected: press Ctrl+C";
  });
}

for (const form of document.querySelectorAll("form[data-once]")) {
  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
  });
  addEventListener("pageshow", () => { sent = false; });
}
