package build

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/evanw/esbuild/pkg/api"
)

// Pages makes the files of the pages, by path, from the sources in the folder
// src. The pages load the client from beside them instead of having their own.
func Pages(src string) (map[string][]byte, error) {
	src, err := filepath.Abs(src)
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for _, name := range []string{"index.html", "doctor.html", "pages/icon.svg"} {
		if files[name], err = os.ReadFile(filepath.Join(src, path.Base(name))); err != nil {
			return nil, err
		}
	}
	result := api.Build(api.BuildOptions{
		EntryPoints:      []string{filepath.Join(src, "room.ts"), filepath.Join(src, "doctor.ts"), filepath.Join(src, "style.css")},
		Outdir:           filepath.Join(src, "..", "dist", "pages"),
		AbsWorkingDir:    src,
		Bundle:           true,
		Format:           api.FormatESModule,
		Target:           api.ES2017,
		Engines:          []api.Engine{{Name: api.EngineChrome, Version: "88"}, {Name: api.EngineFirefox, Version: "78"}, {Name: api.EngineSafari, Version: "15"}},
		MinifyWhitespace: true, MinifyIdentifiers: true, MinifySyntax: true,
		Charset:       api.CharsetUTF8,
		LegalComments: api.LegalCommentsNone,
		TsconfigRaw:   `{}`,
		LogLevel:      api.LogLevelSilent,
		Plugins: []api.Plugin{{Name: "client", Setup: func(b api.PluginBuild) {
			b.OnResolve(api.OnResolveOptions{Filter: "^culvert$"}, func(api.OnResolveArgs) (api.OnResolveResult, error) {
				return api.OnResolveResult{Path: "../culvert.js", External: true}, nil
			})
		}}},
	})
	var errs []error
	for _, m := range append(result.Errors, result.Warnings...) {
		text := m.Text
		if l := m.Location; l != nil {
			text = fmt.Sprintf("%s:%d: %s", l.File, l.Line, text)
		}
		errs = append(errs, errors.New(text))
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("build pages: %w", errors.Join(errs...))
	}
	for _, f := range result.OutputFiles {
		files["pages/"+filepath.Base(f.Path)] = f.Contents
	}
	return files, nil
}
