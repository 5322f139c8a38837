(function (key, [frames, labels, words, shape], first) {
  const root = document.getElementById(key), inputs = root.querySelectorAll("input"),
    picture = root.querySelector("[role=img]"), output = root.querySelector("output");
  picture.innerHTML = frames[first];  // until now an image, for where scripts do not run
  // What does not fit moves sideways, by keyboard too.
  if (picture.parentNode.scrollWidth > picture.parentNode.clientWidth) picture.parentNode.tabIndex = 0;
  inputs.forEach((input, k) => {
    const number = root.querySelectorAll("b")[k], button = document.createElement("button");
    let clock = 0;
    input.addEventListener("input", () => {
      let place = 0;
      inputs.forEach((other, j) => { place = place * shape[j] + +other.value; });
      picture.innerHTML = frames[place];
      picture.setAttribute("aria-label", output.textContent = labels[place]);
      input.setAttribute("aria-valuetext", words[k][input.value]);
      if (number) number.textContent = words[k][input.value];
    });
    // Plays as a reader would move it, to its end or until the reader does.
    function run(on) {
      clearInterval(clock);
      clock = on ? setInterval(move, 800) : 0;
      button.setAttribute("aria-pressed", on);
      const sign = on ? "M1 0h3v10H1zM6 0h3v10H6z" : "M1 0l8 5-8 5z";
      button.innerHTML = `<svg viewBox="0 0 10 10" width="12"><path fill="currentColor" d="${sign}"/></svg>`;
    }
    function move() {
      input.value = +input.value === +input.max ? 0 : +input.value + 1;
      input.dispatchEvent(new Event("input"));
      if (+input.value === +input.max) run(false);
    }
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    button.type = "button";
    button.setAttribute("style", "flex:none;width:2.2rem;height:1.8rem;padding:0");
    button.setAttribute("aria-label", `Play: ${input.parentNode.firstChild.data.trim()}`);
    input.parentNode.before(button);
    run(false);
    button.addEventListener("click", () => {
      run(!clock);
      if (clock) move();
    });
    for (const hand of ["pointerdown", "keydown"]) input.addEventListener(hand, () => run(false));
  });
})
