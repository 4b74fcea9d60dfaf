// The tools lie outside the project.
export default { turbopack: { root: "/" } };
