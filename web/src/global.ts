// The classic script: one global name, in pages and in workers.
import { CulvertError, connect } from "./index";

(self as any).culvert = { connect, CulvertError };
