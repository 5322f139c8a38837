// On a narrow screen a figure opens at its own size, where its words can be read.
(function () {
  const dialog = document.createElement("dialog");
  dialog.className = "book-figure";
  dialog.innerHTML = '<button type="button">Close</button><div tabindex="0"></div>';
  document.body.append(dialog);
  const [close, room] = dialog.children;
  close.addEventListener("click", () => dialog.close());
  // The theme keeps the browser from doing this by itself.
  dialog.addEventListener("keydown", event => { if (event.key === "Escape") dialog.close(); });

  function open(figure) {
    const pictures = [...figure.querySelectorAll("img")].map(picture => {
      const copy = picture.cloneNode();
      copy.style.width = `${picture.getAttribute("width")}px`;
      copy.loading = "eager";
      return copy;
    });
    room.replaceChildren(...pictures);
    const number = figure.querySelector(".caption-number");
    dialog.setAttribute("aria-label", number ? number.textContent.trim() : "Figure");
    dialog.showModal();
    room.focus();
  }

  function offer() {
    for (const figure of document.querySelectorAll(".cell_output figure:not(.book-slider)")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "book-enlarge";
      button.textContent = "⤢";
      const number = figure.querySelector(".caption-number");
      const name = number ? number.textContent.trim() : "figure";
      button.setAttribute("aria-label", `Open ${name} at full size`);
      button.addEventListener("click", () => open(figure));
      figure.prepend(button);
      for (const picture of figure.querySelectorAll("img")) {
        picture.addEventListener("click", () => {
          if (getComputedStyle(button).display !== "none") open(figure);
        });
      }
    }
  }
  // Once the page is there.
  addEventListener("load", () => setTimeout(offer));
})();
