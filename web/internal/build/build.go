// Package build makes the files that browsers load from the sources under
// web/src. It is used by go generate and by the test that the files in the
// tree are current; the server has neither it nor esbuild in it.
package build

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// Files makes all built files, by name, from the sources in the folder src.
func Files(src string) (map[string][]byte, error) {
	src, err := filepath.Abs(src)
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for _, b := range []struct {
		name, entry string
		options     api.BuildOptions
	}{
		// The API's oldest language is what has async functions.
		{"culvert.js", "index.ts", api.BuildOptions{Format: api.FormatESModule, Target: api.ES2017}},
		{"culvert.global.js", "global.ts", api.BuildOptions{Format: api.FormatIIFE, Target: api.ES2017}},
		// esbuild refuses what it cannot say in ES5, which makes it the check as well.
		{"culvert.legacy.js", "legacy.js", api.BuildOptions{Target: api.ES5}},
	} {
		if err := bundle(files, src, b.name, b.entry, b.options); err != nil {
			return nil, err
		}
	}
	types, err := declarations(src)
	if err != nil {
		return nil, err
	}
	files["culvert.d.ts"] = types
	return files, nil
}

// mangled lists the names of members that are shortened: a tenth of the
// compressed size. It is made, and in CI proven, by mangled.mjs: the type checker
// knows which names mean nothing but members of ours.
//
//go:embed mangled.txt
var mangled string

// bundle adds one script and its source map.
func bundle(files map[string][]byte, src, name, entry string, o api.BuildOptions) error {
	o.EntryPoints = []string{filepath.Join(src, entry)}
	o.Outfile = filepath.Join(src, "..", "dist", name)
	o.AbsWorkingDir = filepath.Dir(src)
	o.Bundle = true
	o.MinifyWhitespace, o.MinifyIdentifiers, o.MinifySyntax = true, true, true
	if strings.HasSuffix(entry, ".ts") {
		o.MangleProps = "^(" + strings.Join(strings.Fields(mangled), "|") + ")$"
	}
	o.Sourcemap = api.SourceMapLinked
	o.SourcesContent = api.SourcesContentInclude
	o.Charset = api.CharsetASCII
	o.LegalComments = api.LegalCommentsNone
	// No tsconfig.json above decides what is built.
	o.TsconfigRaw = `{"compilerOptions":{"useDefineForClassFields":false}}`
	o.LogLevel = api.LogLevelSilent
	result := api.Build(o)
	var errs []error
	for _, list := range [][]api.Message{result.Errors, result.Warnings} {
		for _, m := range list {
			text := m.Text
			if l := m.Location; l != nil {
				text = fmt.Sprintf("%s:%d: %s", l.File, l.Line, text)
			}
			errs = append(errs, errors.New(text))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("build %s: %w", name, errors.Join(errs...))
	}
	for _, f := range result.OutputFiles {
		files[filepath.Base(f.Path)] = f.Contents
	}
	return nil
}

// declarations makes the types: those of the codes, which have no imports, and
// the public ones, without theirs.
func declarations(src string) ([]byte, error) {
	codes, err := os.ReadFile(filepath.Join(src, "codes.ts"))
	if err != nil {
		return nil, err
	}
	public, err := os.ReadFile(filepath.Join(src, "api.ts"))
	if err != nil {
		return nil, err
	}
	_, code, ok := strings.Cut(string(codes), "/** The codes that a server")
	code, _, ok2 := strings.Cut(code, "/**")
	const imports = "import type { Code } from \"./codes\";\n"
	_, rest, ok3 := strings.Cut(string(public), imports)
	if !ok || !ok2 || !ok3 {
		return nil, errors.New("build culvert.d.ts: api.ts or codes.ts are not as they were")
	}
	var b bytes.Buffer
	b.WriteString("// Made from src/api.ts and src/codes.ts by go generate. DO NOT EDIT.\n\n")
	b.WriteString("/** The codes that a server" + code)
	b.WriteString(strings.TrimPrefix(rest, "\n"))
	b.WriteString("\nexport declare const CulvertError: { new (code: string, message: string): CulvertError; prototype: CulvertError };\n")
	b.WriteString("export as namespace culvert;\n")
	return b.Bytes(), nil
}
