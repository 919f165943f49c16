/** Where the service lies: beside this page, below whatever prefix a proxy gives it. */
export const base = new URL("./", document.baseURI);
