// The console's only script: it hands a page's options to the browser, and the security key's answer to the form.
// Options and answers are JSON as W3C Web Authentication level 3 writes them (sections 5.1.8 to 5.1.10).
"use strict";

async function askSecurityKey(form) {
  const options = JSON.parse(form.dataset.options);
  const credential = form.dataset.webauthn === "create"
    ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
    : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
  return JSON.stringify(credential.toJSON());
}

for (const form of document.querySelectorAll("form[data-webauthn]")) {
  const problem = form.querySelector("[data-problem]");
  form.addEventListener("submit", async (event) => {
    if (form.elements.webauthn.value) return;
    event.preventDefault();
    problem.hidden = true;
    try {
      form.elements.webauthn.value = await askSecurityKey(form);
    } catch (error) {
      problem.textContent = `The security key was not used (${error.name}). Try again.`;
      problem.hidden = false;
      return;
    }
    form.submit();
  });
}
