// Finds the members that the bundle may shorten, and says whether mangled.txt lists just these ("--write" writes it).
//
// A name may be shortened where the type checker proves that every use of it, anywhere in the sources, means a member
// that a class or an interface of ours declares: nothing of the browser's, of the wire's or of the pages' (api.ts). A use
// whose type is not known (any) rules its name out, and so does an object literal that is not made for a type of ours.
import fs from "node:fs";
import path from "node:path";
import ts from "typescript";

const here = import.meta.dirname;
const web = path.join(here, "../..");
const config = ts.parseJsonConfigFileContent(ts.readConfigFile(path.join(web, "tsconfig.json"), ts.sys.readFile).config, ts.sys, web);
const src = path.join(web, "src") + path.sep;
const program = ts.createProgram(config.fileNames.filter((f) => path.resolve(f).startsWith(src)), config.options);
const checker = program.getTypeChecker();

const isPublic = (file) => ["api.ts", "codes.ts"].includes(path.basename(file.fileName));
const isOurs = (file) => path.resolve(file.fileName).startsWith(src) && !isPublic(file);
const isMember = (d) => ts.isClassElement(d) || ts.isTypeElement(d) || ts.isParameterPropertyDeclaration(d, d.parent);
/** Whether it only says what others have made. */
const isAmbient = (d) => !!ts.findAncestor(d, (n) => ts.canHaveModifiers(n) && (ts.getModifiers(n) || []).some((m) => m.kind == ts.SyntaxKind.DeclareKeyword));
const ours = new Set();
const others = new Set();

function uses(name, symbol) {
  const list = symbol && symbol.declarations;
  const good = (d) => isOurs(d.getSourceFile()) && isMember(d) && !isAmbient(d) && d.name && d.name.text == name.text;
  (list && list.length && list.every(good) ? ours : others).add(name.text);
}

const property = (type, name) => uses(name, type && checker.getPropertyOfType(checker.getNonNullableType(type), name.text));

function visit(node) {
  if (ts.isPropertyAccessExpression(node)) uses(node.name, checker.getSymbolAtLocation(node.name));
  else if (ts.isElementAccessExpression(node) && ts.isStringLiteral(node.argumentExpression)) others.add(node.argumentExpression.text);
  else if (ts.isBindingElement(node) && ts.isObjectBindingPattern(node.parent) && !node.dotDotDotToken) property(checker.getTypeAtLocation(node.parent), node.propertyName || node.name);
  else if (ts.isObjectLiteralElementLike(node) && ts.isObjectLiteralExpression(node.parent) && node.name) property(checker.getContextualType(node.parent), node.name);
  else if (isMember(node) && node.name && node.name.text) (isPublic(node.getSourceFile()) || isAmbient(node) ? others : ours).add(node.name.text);
  ts.forEachChild(node, visit);
}

for (const file of program.getSourceFiles()) if (isOurs(file) || isPublic(file)) visit(file);
const text = [...ours].filter((name) => !others.has(name)).sort().join("\n") + "\n";
const list = path.join(here, "mangled.txt");
if (process.argv.includes("--write")) fs.writeFileSync(list, text);
else if (fs.readFileSync(list, "utf8") != text) {
  const had = fs.readFileSync(list, "utf8").split("\n");
  const not = (a, b) => a.filter((x) => x && !b.includes(x)).join(" ") || "nothing";
  console.error(`mangled.txt is not current: missing ${not(text.split("\n"), had)}; wrong ${not(had, text.split("\n"))}. Run npm run mangled.`);
  process.exit(1);
}
