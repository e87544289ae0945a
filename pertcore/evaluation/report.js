"use strict";
// The page is whole without this: it filters pictures, copies the command, opens details to print.
for (const form of document.querySelectorAll(".gallery form")) {
  const figures = [...form.parentElement.querySelectorAll("figure")];
  const filter = () => {
    for (const figure of figures)
      figure.hidden = ["outcome", "group"].some(
        (name) => form[name].value && form[name].value !== figure.dataset[name]);
    const seen = figures.filter((figure) => !figure.hidden).length;
    form.querySelector("output").value = `${seen} of ${figures.length}`;
  };
  form.addEventListener("change", filter);
  form.hidden = false;
  filter(); // browsers restore choices after a reload
}
for (const button of document.querySelectorAll(".command button")) {
  const command = button.parentElement.querySelector("code");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(command.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(command);
      button.textContent = "Selected: now copy";
    }
  });
  button.hidden = false;
}
const shut = [];
addEventListener("beforeprint", () => {
  shut.push(...document.querySelectorAll("details:not([open])"));
  for (const part of shut) part.open = true;
});
addEventListener("afterprint", () => {
  for (const part of shut.splice(0)) part.open = false;
});
