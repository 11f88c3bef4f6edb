package oci

import (
	"encoding/json"

	"pyro/api"
)

// dockerImage reads what "docker save" and "podman save" write: manifest.json
// names a config and layers by file name.
func (s *tarSource) dockerImage(name string, want Platform) (*Image, error) {
	data, err := s.document("manifest.json")
	if err != nil {
		return nil, err
	}
	m, err := parseDockerSave(name, data)
	if err != nil {
		return nil, err
	}
	configData, err := s.document(m.Config)
	if err != nil {
		return nil, err
	}
	list := &manifest{}
	for _, file := range m.Layers {
		at, ok := s.find(file)
		if !ok {
			return nil, mismatchf("%s: it lacks layer %s", name, printable(file))
		}
		if at.size > maxLayerBytes {
			return nil, unsafef("%s: layer %s is larger than %d bytes", name, printable(file), int64(maxLayerBytes))
		}
		list.layers = append(list.layers, Descriptor{MediaType: fileMediaType + file, Size: at.size})
	}
	return newImage(name, "", list, configData, want, s)
}

type dockerSave struct {
	Config string
	Layers []string
}

func parseDockerSave(name string, data []byte) (*dockerSave, error) {
	var images []dockerSave
	if err := json.Unmarshal(data, &images); err != nil {
		return nil, unsafef("%s: manifest.json is not that of a docker-save archive: %v", name, err)
	}
	if len(images) != 1 {
		return nil, api.Errorf(api.KindUsage, "%s holds %d images, one is needed", name, len(images)).
			WithHint("docker save IMAGE -o FILE")
	}
	if len(images[0].Layers) > maxLayers {
		return nil, unsafef("%s: manifest.json lists %d layers, more than %d", name, len(images[0].Layers), maxLayers)
	}
	return &images[0], nil
}
